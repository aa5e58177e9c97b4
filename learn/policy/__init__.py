"""The language-conditioned vision policy: one network for all workflows.

`corpus` has the sentences, which it puts into `frames` with `speech`, `text` the encoder of
sentences, `eyes` what looks at the camera's image, `head` the flow that draws action chunks, and
`network` puts them together. `samples` reads recordings, `train` clones the scripted experts from
them. Afterwards eyes and text are frozen, and only the head learns on, from what eyes and text gave
it (`code`) and the chunk that was played (`latent`).
"""
