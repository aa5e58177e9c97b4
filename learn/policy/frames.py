"""Frames: ways to talk that have nothing to do with any one scene.

The frames of `FRAMES.asked` leave a command one ("could you ..."). Those of `FRAMES.refused` make
none of it, or just speak of its things: questions, reports, plans, what is taken back, quoted or
said twice over. `headway.learn.policy.speech` fills their places from the commands of a scene:

    {cmd} {other}              a sentence of a command, and one of another command of its scene
    {do} {doing} {did} {done}  a whole deed, "take the red item to the tote", and with its verb as
                               "taking", "took" and "taken"
    {verb} {verbing} {verbed}  the verb alone, "take", "taking" and "taken"
    {it} {other_it}            the things of the two commands, "the red item"
    {after}                    what follows the thing in the deed, "to the tote"
    {colour} {kind} {if}       what tells the thing, the kind of thing that it is, and a condition
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from headway.learn.policy import asked_frames


@dataclass(frozen=True)
class Family:
    """Frames of one kind."""

    name: str
    frames: tuple[str, ...]

    def without(self, fold: int, folds: int, *, left: bool = False) -> Family:
        """The family without every `folds`-th of its frames, beginning with number `fold`; or just
        those that are `left` out."""
        out = set(range(fold, len(self.frames), folds))
        kept = tuple(f for i, f in enumerate(self.frames) if (i in out) == left)
        return replace(self, frames=kept)


ASKED = Family("asked", asked_frames.ASKED)

_QUESTIONS = (
    "what is {it}", "what's {it}", "what is {it} for", "what is {it} made of", "what is in {it}",
    "what about {it}", "what happened to {it}", "what will you do with {it}",
    "what did you do with {it}", "what does {it} cost", "what does {it} look like",
    "what colour is {it}", "what size is {it}", "what comes after {it}", "what is next to {it}",
    "what is under {it}", "what is {after}", "what did you {verb} {after}",
    "what would happen if you {did}", "what do you see", "what are you doing", "what's going on",
    "what should i do", "what do you need to {do}", "what is left to {verb}",
    "which {kind} is {colour}", "which {kind} did you {verb}", "which one is {it}",
    "which is heavier {it} or {other_it}", "which {kind} should be {verbed}",
    "which of them is {colour}", "which {kind} is next", "in which {kind} is {it}", "where is {it}",
    "where's {it}", "where did you put {it}", "where does {it} go", "where does {it} belong",
    "where do you want {it}", "where was {it}", "where can i find {it}",
    "where have you {verbed} {it}", "where do you {verb} things", "where did {it} come from",
    "who {did}", "who has {done}", "who will {do}", "who wants {it}", "who ordered {it}",
    "who told you to {do}", "who is going to {do}", "who owns {it}", "who's {doing}",
    "whose is {it}", "whose job is it to {do}", "to whom does {it} belong", "when did you {do}",
    "when will you {do}", "when are you going to {do}", "when is {it} due",
    "when was {it} {verbed} {after}", "when should i {do}", "when can you {do}", "why did you {do}",
    "why is {it} {after}", "why {do}", "why would you {do}", "why are you {doing}",
    "why didn't you {do}", "why have you not {done}", "why {it}", "why should i {do}",
    "why does {it} have to be {verbed} {after}", "how do you {do}", "how did you {do}",
    "how is {it}", "how heavy is {it}", "how big is {it}", "how much is {it}", "how old is {it}",
    "how many times did you {do}", "how was {it} {verbed}", "how can i {do}",
    "how long does it take to {do}", "how long will it take you to {do}", "how hard is it to {do}",
    "how often do you {do}", "how far away is {it}", "how would you {do}",
    "how many {colour} {kind}s are there", "how many {kind}s have you {verbed}", "how about {it}",
    "do you know how to {do}", "do you see {it}", "do you have {it}", "do you {do} every day",
    "do you know where {it} is", "do you know who {did}", "do you like {it}", "do you mean {it}",
    "do you remember {doing}", "do you think {it} is heavy", "do i have to {do}", "do we have {it}",
    "do we need to {do}", "does {it} go {after}", "does {it} belong {after}",
    "does anybody want {it}", "does {it} look good", "does he {do}", "did you {do}",
    "did you just {do}", "did you see {it}", "did i ask you to {do}", "did they {do}",
    "did somebody {do}", "did it help to {do}", "did {it} fall", "have you {done}",
    "have you ever {done}", "have you seen {it}", "have they {done} yet", "has {it} arrived",
    "has {it} been {verbed} {after}", "has anyone {done}", "has she {done} already",
    "had you {done}", "is {it} {after}", "is {it} {verbed}", "is {it} ready", "is {it} full",
    "is {it} yours", "is {it} the right one", "is there {it}", "is that {it}", "is it {it}",
    "is it time to {do}", "is it safe to {do}", "is it {colour}", "is {it} bigger than {other_it}",
    "is {doing} hard", "is anyone {doing}", "is it true that you {did}", "is this the {colour} one",
    "are you {doing}", "are you going to {do}", "are you done {doing}", "are you sure about {it}",
    "are you allowed to {do}", "are there any {colour} {kind}s", "are you finished with {it}",
    "are we {doing}", "are they {verbed} {after}", "was {it} {verbed} {after}", "was it {it}",
    "was that the {colour} one", "were you {doing}", "were you told to {do}", "can you see {it}",
    "can i have {it}", "can i {do}", "can we {do} tomorrow", "can you tell me where {it} is",
    "can you tell me if you {did}", "can you count the {kind}s", "can anybody {do}", "can it {do}",
    "could you tell me about {it}", "could i {do} myself", "could it be that {it} is broken",
    "could you have {done}", "could you explain {it}", "could you see {it} from there",
    "could anyone else {do}", "could you say who {did}", "should i {do}", "should we {do}",
    "should {it} go {after}", "should {it} be {verbed} {after}", "shall i {do}",
    "shall we talk about {it}", "would it hurt to {do}", "would you like {it}",
    "would you rather {do} or {other}", "would you know where {it} is", "would you say {it} is big",
    "will {it} fit {after}", "will you remember {it}", "will he {do}", "will it rain",
    "must i {do}", "may i {do}", "may i have {it}", "may i see {it}", "might {it} be broken",
    "{it} is {after} isn't it", "{it} is heavy isn't it", "{it} goes {after} doesn't it",
    "you {did} didn't you", "you have {done} haven't you", "you can {do} can't you",
    "you would never {do} would you", "you will not {do} will you", "it was {it} wasn't it",
    "you are {doing} aren't you", "we should {do} shouldn't we", "there is {it} right",
    "you {did} right", "you know {it} don't you", "{it} was {verbed} {after} wasn't it",
    "so you {did}", "you {did} really", "really {it}", "{it} or {other_it}", "{doing} why",
    "any idea where {it} is", "anything {after}", "guess what i {did}", "{it} where is that",
    "tell me whether {it} is {after}", "tell me where {it} is", "tell me how to {do}",
    "tell me when you have {done}", "tell me why you {did}", "i wonder where {it} is",
    "i want to know where {it} is", "i want to know whether you {did}",
    "i'd like to know who {did}",
    "what's inside {it}", "what's in {it}", "is {it} open", "is {it} closed", "is {it} empty",
    "is {it} big enough", "is there enough room in {it}", "which {kind} does {it} belong to",
    "is {it} big enough for {other_it}", "who left {it} there", "what was in {it}",
)  # fmt: skip

_FACTS = (
    "{it} is {after}", "{it} is heavy", "{it} is broken", "{it} is nice", "{it} is mine",
    "{it} is not here", "{it} is already {after}", "{it} is already {verbed}",
    "{it} is on the left", "{it} is next to {other_it}", "{it} is bigger than {other_it}",
    "{it} is empty", "{it} is the last one", "{it} is expensive", "{it} is missing",
    "{it} is dirty", "{it} is behind you", "{it} looks good", "{it} fell down", "{it} weighs a lot",
    "{it} costs ten dollars", "{it} came back yesterday", "{it} belongs to me", "{it} can break",
    "{it} arrived this morning", "{it} has a scratch", "{it} has two sides", "{it} smells funny",
    "there is {it}", "there is a {colour} {kind} over there", "there are two {colour} {kind}s",
    "there are no {kind}s left", "this is {it}", "this is not {it}", "that is {it}", "here is {it}",
    "here comes {it}", "it is {colour}", "it's {it}", "that was {it}", "all {kind}s are {colour}",
    "i see {it}", "i can see {it}", "i like {it}", "i love {it}", "i found {it}", "i have {it}",
    "i lost {it}", "i own {it}", "i know {it}", "i am looking at {it}", "i do not know {it}",
    "i don't care about {it}", "i think {it} is broken", "i hate {doing}", "i like {doing}",
    "{doing} is fun", "{doing} is easy", "{doing} takes ten seconds", "{doing} is hard work",
    "{doing} was a mistake", "{doing} is not allowed", "{doing} is my job", "{doing} can wait",
    "robots {do} all day", "people often {do}", "nobody can {do}", "my brother can {do}",
    "you are good at {doing}", "you are {doing}", "you are slow at {doing}", "he is {doing}",
    "the other robot is {doing}", "she likes to {do}", "it is easy to {do}", "it is fun to {do}",
    "it takes a minute to {do}", "they usually {do}", "we never had {it}", "we have {it} here",
    "we sell {it}", "everybody knows {it}", "the colour of {it} is {colour}",
    "{colour} is a colour", "the {kind} is {colour}", "the {kind} is empty", "the {kind} is full",
    "my {kind} is {colour}", "my favourite colour is {colour}", "a {kind} can be {colour}",
    "some {kind}s are {colour}", "{it} and {other_it} look alike",
    "{other_it} is lighter than {it}", "the price of {it} is low",
    "that {kind} is pretty full by now", "{it} is a bit damaged", "{it} smells", "{it} is wet",
    "{it} was expensive", "the {kind} looks fine", "the label of {it} came off",
    "{it} is on the list", "{it} is nearly empty", "somebody paid for {it}",
)  # fmt: skip

_REPORTS = (
    "i {did}", "i {did} yesterday", "i already {did}", "i have {done}", "i have just {done}",
    "i've already {done}", "i had {done} before you came", "i saw you {do}", "i watched you {do}",
    "i was {doing}", "i forgot to {do}", "i tried to {do}", "i never {did}", "i almost {did}",
    "you {did}", "you {did} very well", "you {did} last time", "you already {did}",
    "you have {done}", "you have just {done}", "you've {done} twice", "you just {did}",
    "you were {doing}", "you failed to {do}", "you forgot to {do}", "you managed to {do}",
    "he {did}", "she {did} an hour ago", "they {did} last week", "we {did} this morning",
    "we have {done} already", "we've {done}", "we were {doing} when it broke", "we used to {do}",
    "somebody {did}", "someone has {done}", "somebody else {did}", "nobody {did}",
    "the robot {did}", "the robot has {done}", "the last robot {did} badly", "my colleague {did}",
    "the night shift {did}", "the customer {did} himself", "it {did}", "it seems that you {did}",
    "{it} was {verbed} {after}", "{it} was {verbed} yesterday", "{it} has been {verbed} {after}",
    "{it} had been {verbed} by mistake", "{it} was {after} before",
    "{it} got {verbed} {after} again", "{it} has already been {verbed}",
    "{it} was not {verbed} {after}", "{it} was ordered last week", "{it} was lost",
    "{it} was the first one", "yesterday we {did}", "last week you {did}", "at noon somebody {did}",
    "an hour ago you {did}", "before that i {did}", "once i {did}", "after you {did} it fell",
    "when you {did} i was away", "thanks for {doing}", "good that you {did}", "well done you {did}",
    "sorry for {doing}", "you did {do}", "finished {doing}", "done with {it}", "just {did}",
    "i am done {doing}", "we are done with {it}", "it was right to {do}", "it was wrong to {do}",
    "the last order was to {do}", "you were asked to {do}", "you were supposed to {do}",
    "you should have {done}", "you could have {done}", "i would have {done}",
    "i wish you had {done}", "i asked you to {do}",
)  # fmt: skip

_TAKEN_BACK = (
    "{cmd} no wait", "{cmd} no don't", "{cmd} no stop", "{cmd} never mind", "{cmd} nevermind",
    "{cmd} forget it", "{cmd} actually don't", "{cmd} actually no", "{cmd} or rather don't",
    "{cmd} scratch that", "{cmd} just kidding", "{cmd} only joking", "{cmd} i changed my mind",
    "{cmd} but not now", "{cmd} not", "{cmd} oh no leave it", "{cmd} stop", "{cmd} wait stop",
    "{cmd} on second thought leave it", "{cmd} cancel that", "{cmd} no cancel", "{cmd} undo",
    "{cmd} sorry i meant nothing", "{cmd} no forget that", "{cmd} hold on", "{cmd} hang on don't",
    "{cmd} no that is wrong", "{cmd} better not", "{cmd} ignore that", "{cmd} was a mistake",
    "{cmd} don't do it", "{cmd} don't do that", "{cmd} that was wrong", "{cmd} i take it back",
    "{cmd} leave it after all", "{cmd} it is not needed any more", "{cmd} is cancelled",
    "{cmd} no longer applies", "{cmd} no not that", "{cmd} oh wait never mind",
    "{cmd} please don't", "scratch that about {it}", "forget {it}", "forget what i said about {it}",
    "never mind {it}", "forget about {doing}", "never mind {doing}", "cancel {it}",
    "cancel the order for {it}", "cancel {doing}", "the order for {it} is cancelled",
    "i changed my mind about {it}", "i don't want {it} any more", "i no longer want {it} {after}",
    "i take back what i said {cmd}", "on second thought don't {do}", "on second thoughts keep {it}",
    "actually don't {do}", "no don't {do}", "wait don't {do}", "wait before you {do}",
    "wait with {it}", "stop {doing}", "stop with {it}", "hold on with {it}", "hold off on {doing}",
    "not {it}", "not {it} please", "no not {it}", "anything but {it}", "leave {it}",
    "leave {it} for now", "let {it} be", "undo {doing}", "undo what you did with {it}",
    "put {it} back", "put {it} back where it was", "bring {it} back", "take {it} back",
    "it was a mistake to {do}", "sorry i did not mean {it}", "i did not mean {it}",
    "i did not say {do}", "please disregard {cmd}", "disregard {it}", "ignore the last order {cmd}",
    "ignore {it}", "withdraw {it}", "oops not {it}", "skip {it}", "no need to {do}",
    "there is no need to {do}", "you don't have to {do}", "you need not {do}",
    "it is not necessary to {do}", "{doing} is not needed any more", "{it} is no longer needed",
    "you may stop {doing}", "quit {doing}", "drop the plan to {do}", "{it} can stay",
    "{it} can stay where it is", "{it} stays", "{it} should stay where it is",
    "do nothing with {it}",
)  # fmt: skip

_PLANS = (
    "if {if} {do}", "if {if} then {do}", "if {if} you should {do}", "{cmd} if {if}", "{do} if {if}",
    "{cmd} only if {if}", "{cmd} in case {if}", "in case {if} {do}", "{do} unless {if}",
    "unless {if} {do}", "when {if} {do}", "{cmd} when {if}", "{cmd} once {if}", "once {if} {do}",
    "as soon as {if} {do}", "{do} as soon as {if}", "after {if} {do}", "{cmd} after {if}",
    "{do} until {if}", "{cmd} but first wait until {if}", "whenever {if} {do}",
    "{do} every time {if}", "provided that {if} {do}", "should {if} {do}",
    "wait until {if} and then {do}", "suppose {if} would you {do}", "if you {do} it will break",
    "if i {do} what happens", "if you had {done} we would be done", "if you {did} i would be happy",
    "don't {do} until {if}", "not before {if}", "{it} can go {after} when {if}",
    "{it} if {if}", "tomorrow {do}", "{cmd} tomorrow", "tomorrow you will {do}", "{cmd} later",
    "later {do}", "later on you can {do}", "{cmd} in an hour", "{cmd} in ten minutes",
    "in five minutes {do}", "{cmd} next week", "next week {do}", "{cmd} tonight", "{cmd} on monday",
    "on friday {do}", "{cmd} after lunch", "after the break {do}", "{cmd} some other time",
    "{cmd} another day", "{cmd} at five o'clock", "at noon {do}", "{cmd} at the end of the shift",
    "{cmd} not yet", "{cmd} when i say so", "when i say go {do}", "on my signal {do}",
    "{cmd} on my command", "not yet but soon {do}", "soon you will {do}", "soon i will {do}",
    "one day you will {do}", "we will {do} tomorrow", "we are going to {do} later",
    "we plan to {do}", "we might {do}", "i will {do}", "i will {do} myself", "i'll {do}",
    "i am going to {do}", "i'm about to {do}", "i plan to {do} next week", "i intend to {do}",
    "i want to {do} myself", "i'd rather {do} myself", "let me {do}", "let me {do} myself",
    "he will {do}", "she is going to {do}", "they will {do} soon", "somebody will {do}",
    "somebody else should {do}", "the other robot will {do}", "tom should {do}",
    "the next shift will {do}", "maybe we should {do}", "maybe i should {do}", "perhaps later {do}",
    "you will {do} in the future", "you would {do} if you could", "you might have to {do} later",
    "get ready to {do} later", "be prepared to {do}", "remind me to {do}", "remind me about {it}",
    "plan to {do} tomorrow", "think about {doing}", "imagine {doing}", "imagine that you {did}",
    "pretend to {do}", "dream of {doing}", "learn how to {do}", "practise {doing} some day",
    "i am thinking about {doing}", "i am not sure whether to {do}", "i doubt that you can {do}",
)  # fmt: skip

_QUOTED = (
    "he said {cmd}", "she said {cmd}", "she told me to {do}", "he told him to {do}",
    "they say {cmd}", "my boss said {cmd}", "somebody said {cmd}", "the manual says {cmd}",
    "the sign says {cmd}", "the screen shows {cmd}", "the label says {it}", "the note reads {cmd}",
    "it says {cmd}", "i heard him say {cmd}", "i heard that you {did}", "i read {cmd}",
    "i said {cmd} yesterday", "yesterday i said {cmd}", "yesterday you were told {cmd}",
    "you said {cmd}", "you said you {did}", "the customer asked whether you {did}",
    "the customer wrote {cmd}", "they asked who {did}", "he claims that he {did}",
    "she says that {it} is {after}", "he thinks you {did}", "the sentence {cmd} is long",
    "the sentence {cmd} has a verb", "the words {cmd} are english",
    "the phrase {cmd} means nothing", "{cmd} is what he said", "{cmd} he said", "{cmd} she shouted",
    "{cmd} is a sentence", "{cmd} is an order", "{cmd} is the title of a book",
    "{cmd} they told us", "what does {cmd} mean", "what is meant by {cmd}", "say {cmd}",
    "repeat after me {cmd}", "repeat {cmd}", "spell {it}", "spell {colour}",
    "how do you spell {colour}", "write {cmd}", "write down {cmd}", "read out {cmd}",
    "translate {cmd}", "translate {cmd} into french", "type {cmd}", "print {cmd}", "sing {cmd}",
    "pronounce {it}", "answer when i say {cmd}", "who said {cmd}", "did you say {cmd}",
    "why did he say {cmd}", "did i say {cmd}", "when did i say {cmd}", "have you understood {cmd}",
    "quote {cmd}", "the opposite of {cmd}", "a story about {it}", "tell him to {do}",
    "tell her {cmd}", "ask him to {do}", "ask if you may {do}", "send a message that says {cmd}",
    "the example {cmd} is bad", "an example is {cmd}",
)  # fmt: skip

_DOUBLE = (
    "{cmd} and don't {do}", "{cmd} and do not", "{cmd} but do not {verb} it", "{cmd} but leave it",
    "{cmd} but keep it where it is", "{cmd} and leave it there", "{cmd} without touching it",
    "{cmd} without {verbing} it", "{cmd} or {other}", "{cmd} or don't", "{cmd} or not",
    "either {cmd} or {other}", "neither {do} nor {other}", "{cmd} and {other}",
    "{cmd} then {other}", "{cmd} and at the same time {other}", "{cmd} while you {other}",
    "{cmd} no {other}", "{cmd} instead of {other_it}", "{cmd} no i mean {other}",
    "{cmd} wait no {other}", "{do} and {other_it}", "{cmd} and {other_it} too",
    "{cmd} and also {other_it}", "{it} and {other_it}", "both {it} and {other_it}",
    "{it} or {other_it} i don't care", "{verb} both {it} and {other_it} {after}",
    "{verb} {it} or {other_it} {after}", "{verb} {it} and {other_it} {after}",
    "{verb} {it} with {other_it}", "{verb} all of them {after}", "{verb} everything {after}",
    "{verb} any of them {after}", "{verb} one of them {after}", "{verb} nothing {after}",
    "{verb} neither of them {after}", "{verb} something {after}", "{verb} it {after}",
    "{verb} that", "{verb} it", "{verb} this one", "{verb} the other one {after}",
    "{verb} some {kind} {after}", "{verb} the {kind} {after}", "{verb} every {kind} {after}",
    "{verb} it {after} again", "{verb} them {after}", "exchange {it} and {other_it}",
    "swap {it} with {other_it}", "put {it} on {other_it}", "put {it} next to {other_it}",
    "{verb} every {kind} but {it} {after}", "{verb} all but {it} {after}",
    "{verb} everything except {it} {after}", "only {it} must not be {verbed} {after}",
    "{cmd} and keep it as it is", "{cmd} but keep it away from there", "{cmd} and undo it",
    "{cmd} and put it back again", "{cmd} and take it out again", "{cmd} then leave it alone",
)  # fmt: skip

_OTHERWISE = (
    "throw {it} away", "throw {it} on the floor", "throw {it} at the wall", "break {it}",
    "eat {it}", "put {it} on the floor", "put {it} on the shelf", "put {it} in your pocket",
    "put {it} down", "put {it} somewhere else", "put {it} back in the bin",
    "put {it} in the drawer", "put {it} under the table", "place {it} on the chair",
    "move {it} to the left", "move {it} out of the way", "move {it} a little", "push {it} aside",
    "turn {it} around", "turn {it} upside down", "lift {it} and hold it", "hold {it}",
    "hold {it} for a while", "give {it} to me", "give me {it}", "bring me {it}", "hand me {it}",
    "hand {it} to tom", "describe {it}", "tell me about {it}", "look at {it}", "point at {it}",
    "touch {it}", "count {it}", "weigh {it}", "measure {it}", "clean {it}", "wipe {it}",
    "paint {it}", "fold {it}", "take a picture of {it}", "watch {it}", "guard {it}", "keep {it}",
    "keep {it} for yourself", "keep {it} away from me", "leave {it} alone", "leave {it} to me",
    "stay away from {it}", "hands off {it}", "don't touch {it}", "do not look at {it}", "hide {it}",
    "buy {it}", "sell {it}", "take {it} home", "take {it} apart", "take {it} out again",
    "remove {it}", "remove {it} again", "tear {it} apart", "repair {it}", "charge for {it}",
    "return {it} to the sender", "shake {it}", "wrap {it} up", "drop {it} on my foot", "kick {it}",
    "squeeze {it}", "go around {it}", "write a note on {it}", "stick a label on {it}",
    "stand on {it}", "sit down next to {it}",
    "take {it} back out", "get {it} out of there",
    "undo what you did to {it}", "print a slip for {it}", "print a label for {it}",
    "write a report about {it}", "keep {it} closed", "shut {it}", "turn {it} over",
)  # fmt: skip

_SMALL_TALK = (
    "hello", "hi", "good morning", "good evening", "how are you", "how do you do", "who are you",
    "what is your name", "nice to meet you", "see you tomorrow", "goodbye", "good night", "thanks",
    "thank you very much", "you are welcome", "well done", "good job", "nice work", "bravo",
    "great", "that was great", "that was wrong", "too bad", "i am sorry", "excuse me", "never mind",
    "yes", "no", "maybe", "ok", "okay then", "alright", "sure", "of course", "i see",
    "i don't know", "what a day", "it is raining", "the sun is out", "i am hungry", "i am tired",
    "it is too loud", "let's have lunch", "lunch is at twelve", "time for a break",
    "time for coffee", "make coffee", "do you like music", "do you like your job", "can you dance",
    "can you hear me", "are you there", "are you a robot", "are you ready", "are you ok",
    "is anybody there", "is it friday", "help", "help me", "help me up", "come here", "go away",
    "stop", "stop it", "stop right there", "wait", "wait a moment", "hold on", "one moment please",
    "careful", "watch out", "slow down", "faster", "be quiet", "shut down", "switch yourself off",
    "start", "go", "go on", "continue", "again", "do it again", "do it", "do that", "once more",
    "repeat that", "the same again", "try again", "undo that", "go back", "not that one",
    "the other one", "this one", "that one", "next", "more", "what now", "what is new",
    "what can you do", "what day is it", "why", "why not", "how", "when", "who was that",
    "where am i", "where are we", "somebody is at the door", "call my wife", "my car is broken",
    "the belt has stopped", "the truck is late", "the boss is coming", "i will be right back",
    "i am going home", "you can go home now", "happy birthday", "congratulations", "i love you",
    "you are funny", "you are doing well", "you look tired", "my name is tom", "turn around",
    "turn off the radio", "turn up the heat", "raise your arm", "wave", "smile", "dance",
    "play some music", "tell me a story", "tell me the news", "read me a book", "take a rest",
    "move your arm to the left", "move back a little", "move away", "look up", "look around",
    "close your hand", "open your hand", "let go", "let it go", "drop it", "pick something up",
    "give me a hand", "give it to me", "bring me a coffee", "sweep the floor", "clean up",
    "tidy up",
)  # fmt: skip

OTHERWISE = "otherwise"  # the family of other deeds with the things of the commands
REFUSED = (
    Family("questions", _QUESTIONS),
    Family("facts", _FACTS),
    Family("reports", _REPORTS),
    Family("taken back", _TAKEN_BACK),
    Family("plans", _PLANS),
    Family("quoted", _QUOTED),
    Family("double", _DOUBLE),
    Family(OTHERWISE, _OTHERWISE),
    Family("small talk", _SMALL_TALK),
)

CONDITIONS = (
    "it is broken", "it rains", "the light turns green", "the lamp is on", "i say so", "i nod",
    "the customer calls", "there is room", "the belt stops", "you hear the bell", "i come back",
    "he agrees", "it is empty", "it is too heavy", "you find the time", "nobody needs it",
    "the truck arrives", "the boss says so", "you are told to", "i ask you", "the others are done",
    "the shift is over", "the scanner works again", "something goes wrong", "i raise my hand",
)  # fmt: skip


@dataclass(frozen=True)
class Frames:
    """The frames of a corpus: those in which a command stays one, and those in which it does
    not."""

    asked: Family
    refused: tuple[Family, ...]

    def without(self, fold: int, folds: int = 5, *, left: bool = False) -> Frames:
        """See `Family.without`, for each family."""
        return Frames(
            self.asked.without(fold, folds, left=left),
            tuple(family.without(fold, folds, left=left) for family in self.refused),
        )

    def texts(self) -> tuple[str, ...]:
        """All frames and conditions."""
        families = (self.asked, *self.refused)
        return (*(text for family in families for text in family.frames), *CONDITIONS)


FRAMES = Frames(ASKED, REFUSED)
