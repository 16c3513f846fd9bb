from blazen import EmbeddingModel, EmbedOptions
model = EmbeddingModel.local(options=EmbedOptions(
    model_name="starter:embed",  # 384 dims
    cache_dir="blazen-embed",
    max_batch_size=256,
))
resp = await model.embed(["hello", "world"])
print(len(resp.embeddings[0]))  # 384
