"""Workers as replicas of Ray Serve, which places and replaces them; front ends find them in a listing over HTTP."""
