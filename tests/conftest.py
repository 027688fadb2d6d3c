"""Settings and fixtures that every test shares."""

import os

# Before anything imports a library that reads them: no network, one thread, no parallel tokenizers.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ.setdefault("OMP_NUM_THREADS", "1")
