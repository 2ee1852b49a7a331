package ctl

import (
	"bufio"
	"strings"
)

// confirm asks a question until it is answered; the default is no. The end of
// the input is errAborted.
func (a *app) confirm(question string) (bool, error) {
	for {
		a.printf("%s [y/N]: ", question)
		answer, err := a.line()
		if err != nil {
			return false, err
		}
		switch strings.ToLower(strings.TrimSpace(answer)) {
		case "y", "yes":
			return true, nil
		case "n", "no", "":
			return false, nil
		}
		a.print("Error: invalid input")
	}
}

// line reads one line of the input; all prompts of a run share the reader.
func (a *app) line() (string, error) {
	r, ok := a.Stdin.(*bufio.Reader)
	if !ok {
		r = bufio.NewReader(a.Stdin)
		a.Stdin = r
	}
	s, err := r.ReadString('\n')
	if err != nil && s == "" {
		return "", errAborted
	}
	return strings.TrimRight(s, "\r\n"), nil
}
