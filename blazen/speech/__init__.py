"""Text made ready for any speech engine: sentences, numbers in words, pauses; no engine inside.

`blazen.speech.utterances.spoken` joins the parts, and is what a backend iterates over.
"""
