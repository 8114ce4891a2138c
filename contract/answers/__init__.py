"""What an estimator answers where it lives: rows that try it, its answers to them, and both as bytes.

The client records them, the controller compares. Refuses to know scikit-learn: estimators are asked by their methods.
"""
