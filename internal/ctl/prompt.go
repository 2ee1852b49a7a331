package ctl

import (
	"bufio"
	"context"
	"fmt"
	"strings"
)

// confirm asks a question until it is answered; the default is no. The end of
// the input, and an interrupt, is errAborted.
func (a *app) confirm(ctx context.Context, question string) (bool, error) {
	for {
		a.printf("%s [y/N]: ", question)
		answer, err := a.line(ctx)
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

// ask asks for a value that has a default, which may be empty.
func (a *app) ask(ctx context.Context, text, fallback string) (string, error) {
	a.printf("%s [%s]: ", text, fallback)
	answer, err := a.line(ctx)
	if answer == "" {
		answer = fallback
	}
	return answer, err
}

// demand asks for a value without default until there is one.
func (a *app) demand(ctx context.Context, text string) (string, error) {
	for {
		a.printf("%s: ", text)
		if answer, err := a.line(ctx); err != nil || answer != "" {
			return answer, err
		}
	}
}

// AskPassword asks a question and does not show the answer while it is typed.
// The question goes to standard error, because standard output may well be a file
// with the result in it. The end of the input, and of ctx, is an error.
func (d Deps) AskPassword(ctx context.Context, question string) (string, error) {
	a := &app{Deps: d}
	return a.secret(ctx, question)
}

// secret is [Deps.AskPassword] among other questions. The input is hidden first:
// a password that is typed, or pasted, as soon as the question is seen must not
// be shown.
func (a *app) secret(ctx context.Context, question string) (string, error) {
	if a.Hide != nil {
		restore, err := a.Hide()
		if err != nil {
			return "", fmt.Errorf("hide the password: %w", err)
		}
		defer fmt.Fprintln(a.Stderr)
		defer restore()
	}
	fmt.Fprint(a.Stderr, question)
	return a.line(ctx)
}

// line reads one line of the input; all prompts of a run share the reader. A
// read that is left because of an interrupt goes on in the background: the run
// is over then.
func (a *app) line(ctx context.Context) (string, error) {
	r, ok := a.Stdin.(*bufio.Reader)
	if !ok {
		r = bufio.NewReader(a.Stdin)
		a.Stdin = r
	}
	type result struct {
		text string
		err  error
	}
	done := make(chan result, 1)
	go func() {
		s, err := r.ReadString('\n')
		done <- result{s, err}
	}()
	select {
	case <-ctx.Done():
		return "", errAborted
	case got := <-done:
		if got.err != nil && got.text == "" {
			return "", errAborted
		}
		return strings.TrimRight(got.text, "\r\n"), nil
	}
}
