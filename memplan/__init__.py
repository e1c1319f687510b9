"""memplan: what memory a many-connection server will take, before it runs."""
