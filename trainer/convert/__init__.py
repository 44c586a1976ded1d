"""Weights between Hugging Face's safetensors and Megatron's checkpoints, tensor by tensor.

``names`` and ``hf_config`` are pure; the others need torch, none needs megatron-core or transformers.
"""
