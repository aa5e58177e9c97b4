"""What a scripted expert is built on, for experts of other packages too. `Scripted` turns what an
expert wants at a decision, an `Aim`, into chunks towards it, with the disturbances from which
demonstrations recover."""

from headway.learn.experts._scripted import Aim, Scripted

__all__ = ["Aim", "Scripted"]
