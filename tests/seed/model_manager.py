from blazen import (
    ChatMessage,
    ModelManager,
    Model,
    EmbeddingModel,
    MistralRsOptions,
    OpenAiProvider,
    ProviderOptions,
)
# 64 GB of CPU RAM, 24 GB of GPU VRAM (RTX 4090).
manager = ModelManager(cpu_ram_gb=64, gpu_vram_gb=24)
llm = Model.mistralrs(options=MistralRsOptions(
    model_id="starter:chat",
    device="cpu",
))
embedder = EmbeddingModel.local("starter:embed")  # runs on CPU
await manager.register("llm", llm, memory_estimate_bytes=6 * 1024**3)
await manager.register("embed", embedder, memory_estimate_bytes=100 * 1024**2)
# Remote provider in the SAME registry: dispatch-only, no footprint.
await manager.register(
    "cloud", OpenAiProvider(options=ProviderOptions(api_key="sk-...")),
)
await manager.load("llm")
await manager.ensure_loaded("embed")  # different pool, no eviction
print(await manager.used_bytes(pool="gpu:0"))  # bytes on the GPU pool
print(await manager.available_bytes(pool="gpu:0"))  # room left on the GPU pool
print(await manager.used_bytes(pool="cpu"))  # bytes on the CPU pool
# Dispatch any registered entry by name — local or remote, same call shape.
local = await manager.complete("llm", [ChatMessage.user("Hello!")])
cloud = await manager.complete("cloud", [ChatMessage.user("Hello!")])
