from blazen import Transcription, TranscriptionRequest, WhisperOptions, WhisperModel
transcriber = Transcription.whispercpp(options=WhisperOptions(
    model="starter:transcribe-base",  # what WhisperModel.Base is on the hub
    language="en",
))
result = await transcriber.transcribe(
    TranscriptionRequest.from_file("audio.wav")
)
print(result.text)
