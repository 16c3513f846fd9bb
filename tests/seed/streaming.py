from blazen import ChatMessage, Model, XllamaCppOptions
model = Model.xllamacpp(options=XllamaCppOptions(
    model_id="starter:chat",
    context_length=512,
))

stream = await model.complete_stream([ChatMessage.user("Hello!")])
async for chunk in stream:
    print(chunk.content or "", end="")
