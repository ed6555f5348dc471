"""The one Trainer subclass and what it guarantees; used by every training job."""
