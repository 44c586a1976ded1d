"""Samples: read, told apart, tokenized, packed, written as Megatron's indexed files and read from them.

Nothing here imports torch or numpy. pyarrow (parquet, arrow) and tokenizers or transformers (Hugging Face
tokenizers) are imported where they are needed, and asked for by name when they are not there.
"""
