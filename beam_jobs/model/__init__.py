"""The exported model that a job uses: where it lies, and what computes with it, in a worker or on a server."""
