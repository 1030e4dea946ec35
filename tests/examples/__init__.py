"""The examples as their users have them: real servers, real requests, real signals."""
