// Command tamada keeps a PostgreSQL cluster available.
//
// By the names patroni and patronictl it takes those programs' arguments.
package main

import (
	"fmt"
	"os"
)

func main() {
	code, err := run(os.Args)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(code)
}
