// Command tamada keeps a PostgreSQL cluster available.
package main

func main() {}
