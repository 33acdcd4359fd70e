"""Examples of what is started when a model has to be trained again."""
