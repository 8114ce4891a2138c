"""The answers of an estimator in its own environment: test rows, its answers to them, and both as bytes.

The client records them, the controller compares. Refuses to know scikit-learn: estimators are called by their methods.
"""
