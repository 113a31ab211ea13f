"""The HTTP server of a memory; FastAPI and uvicorn, which are optional, are imported when it starts."""
