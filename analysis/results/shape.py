"""A model's shape with random weights, and MODEL's tokenizer: shape.py llama-7b FOLDER"""

import os
import sys

from trainable.model.source import locate
from trainable.model.unpacked import open_tokenizer
from tune.bench.random_models import SHAPES, make_sizes

shape, folder = sys.argv[1:]
tokenizer = open_tokenizer(locate(os.environ["MODEL"]))
make_sizes(SHAPES[shape] | {"vocab_size": len(tokenizer)}).save_pretrained(folder)
tokenizer.save_pretrained(folder)
