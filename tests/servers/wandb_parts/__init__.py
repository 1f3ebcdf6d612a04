"""What the W&B test server is made of; `servers.wandb_server` puts it together.

`store` is what was received, `runs`, `artifacts` and `files` are what can be asked of it, `graphql` answers exactly
the fields that a query names, `faults` are the ways to answer badly, `web` is HTTP and `recorder` keeps all on disk.
"""
