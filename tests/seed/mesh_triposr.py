from blazen import ThreeDGeneration, TripoSrOptions
mesher = ThreeDGeneration.triposr(options=TripoSrOptions())
mesh = await mesher.image_to_mesh("photo.png")
