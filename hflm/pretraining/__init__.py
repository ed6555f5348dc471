"""What `hflm pretrain` is made of: data, vocabulary, model, measures, card."""
