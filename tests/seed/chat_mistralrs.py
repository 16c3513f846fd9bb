from blazen import Model, MistralRsOptions, Quantization, Device, ChatMessage
model = Model.mistralrs(options=MistralRsOptions(
    model_id="starter:chat",
    quantization=Quantization.Q4KM,
    device=Device.Cpu,
    context_length=8192,
))
# First call downloads the GGUF weights (~4 GB for Q4KM Mistral-7B).
# Subsequent calls reuse the cached weights.
await model.load()
response = await model.complete([ChatMessage.user("Hello!")])
print(response.content)
# Free VRAM when you need the GPU for something else.
await model.unload()
