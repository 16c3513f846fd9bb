from blazen import Transcription, TranscriptionRequest, WhisperOptions, WhisperModel
transcriber = Transcription.whispercpp(options=WhisperOptions(
    model=WhisperModel.Base,
    language="en",
))
result = await transcriber.transcribe(
    TranscriptionRequest.from_file("audio.wav")
)
print(result.text)
