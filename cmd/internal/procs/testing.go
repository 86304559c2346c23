package procs

import "context"

// TB is what of a test or benchmark is used here: [testing.TB] has it.
type TB interface {
	Helper()
	Cleanup(func())
	Context() context.Context
	TempDir() string
	Failed() bool
	Logf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// StartTest starts the command for a test: it is killed when the test ends, and its output shown if the test failed.
func StartTest(t TB, c Command) *Process {
	t.Helper()
	p, err := Start(c)
	if err != nil {
		t.Fatalf("%v", err)
		return nil
	}
	t.Cleanup(func() {
		p.Kill()
		if t.Failed() {
			t.Logf("output of %s:\n%s", p.name, p.Output())
		}
	})
	return p
}

// MemberTest returns a member for a test, with a data directory of its own, not started. However often the test
// starts it, it is killed when the test ends, and the output of its last life shown if the test failed.
func MemberTest(t TB, binary string, args ...string) *Member {
	t.Helper()
	m, err := NewMember(binary, t.TempDir())
	if err != nil {
		t.Fatalf("%v", err)
		return nil
	}
	m.Args = args
	t.Cleanup(func() {
		m.Kill()
		if t.Failed() && m.proc != nil {
			t.Logf("output of %s:\n%s", m.proc.name, m.proc.Output())
		}
	})
	return m
}
