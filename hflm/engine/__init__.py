"""The Trainer of every run and what it guarantees; used by every training job."""
