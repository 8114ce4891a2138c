"""What has moved, how good a model still is as far as can be told, and what people are asked: counts in, words out."""
