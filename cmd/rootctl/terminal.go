package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"golang.org/x/term"
)

// terminal reports whether a person sits there: both standard input and standard error are terminals.
func (e *env) terminal() bool { return isTerminal(e.stdin) && isTerminal(e.stderr) }

func isTerminal(v any) bool {
	f, ok := v.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// confirm asks a yes-or-no question.
func (e *env) confirm(question string) error {
	fmt.Fprintf(e.stderr, "%s [y/N] ", question)
	answer, err := bufio.NewReader(e.stdin).ReadString('\n')
	if answer = strings.ToLower(strings.TrimSpace(answer)); err == nil && (answer == "y" || answer == "yes") {
		return nil
	}
	return &userError{err: errDeclined, hint: "--yes does not ask"}
}

// confirmTyped asks the operator to type a word. Without a terminal nobody can: --yes must say so.
func (e *env) confirmTyped(warning, word string) error {
	if !e.terminal() {
		return &userError{what: "nobody confirms it: standard input is no terminal", hint: "--yes does not ask"}
	}
	fmt.Fprintf(e.stderr, "\n%s Type %s to go on: ", warning, word)
	answer, err := bufio.NewReader(e.stdin).ReadString('\n')
	if err == nil && strings.TrimSpace(answer) == word {
		return nil
	}
	return &userError{err: errDeclined, hint: "--yes does not ask"}
}

// statusLine is one line that says what is going on: rewritten in place on a terminal, written once per change elsewhere.
// It may be set from any goroutine.
type statusLine struct {
	mu    sync.Mutex // guards what follows
	w     io.Writer
	live  bool
	last  string
	shown bool
}

func (e *env) newStatusLine() *statusLine {
	return &statusLine{w: e.stderr, live: isTerminal(e.stderr)}
}

// set shows the text in place of the one before.
func (l *statusLine) set(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if text == l.last {
		return
	}
	l.last = text
	if l.live {
		fmt.Fprintf(l.w, "\r\x1b[K%s", text)
		l.shown = true
		return
	}
	fmt.Fprintln(l.w, text)
}

// done clears the line. It may be called twice, and set after it.
func (l *statusLine) done() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.shown {
		fmt.Fprint(l.w, "\r\x1b[K")
		l.shown = false
	}
}

// progress shows a line that the next one replaces, where a person looks on.
func (e *env) progress(format string, a ...any) {
	if isTerminal(e.stderr) {
		fmt.Fprintf(e.stderr, "\r\x1b[K"+format, a...)
	}
}

// progressDone takes the line away.
func (e *env) progressDone() { e.progress("") }
