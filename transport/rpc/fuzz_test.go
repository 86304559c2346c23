package rpc

import (
	"bufio"
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func FuzzFrame(f *testing.F) {
	q := request{left: 1500 * time.Millisecond, name: "propose/1", body: []byte("body")}
	e := Error{Code: CodeRefused, Text: "text", Hint: "hint"}
	f.Add(appendFrame(nil, kindCall, 1, q.head(), q.body))
	f.Add(appendFrame(appendFrame(nil, kindCancel, 7), kindPing, 0))
	f.Add(appendFrame(nil, kindError, 1<<31, e.encode()))
	f.Add(appendFrame(nil, kindAnswer, 2, bytes.Repeat([]byte("x"), 200)))
	f.Add(appendFrame(nil, kindStream, 3, []byte{0, 0, 0, 0, 200, 'x'}))
	f.Add([]byte{0, 0, 0, 4, 1, 0, 0, 0, 0})
	f.Add([]byte{255, 255, 255, 255, 1, 0, 0, 0, 0})
	f.Add([]byte{0, 0, 0, 5, 10, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, in []byte) {
		const limit = 1 << 17
		r := bufio.NewReader(bytes.NewReader(in))
		var out []byte
		for {
			f, err := readFrame(r, limit)
			if err != nil {
				break
			}
			if len(f.rest) > limit {
				t.Fatalf("%d bytes", len(f.rest))
			}
			out = appendFrame(out, f.kind, f.call, f.rest)
			if q, err := parseRequest(f.rest); err == nil {
				if back := append(q.head(), q.body...); !bytes.Equal(back, f.rest) {
					t.Fatalf("request %x became %x", f.rest, back)
				}
			}
			if e, err := parseError(f.rest); err == nil && len(e.Code) <= maxCode && len(e.Text) <= maxText && len(e.Hint) <= maxText {
				if back := e.encode(); !bytes.Equal(back, f.rest) {
					t.Fatalf("error %x became %x", f.rest, back)
				}
			}
		}
		if !bytes.HasPrefix(in, out) {
			t.Fatalf("frames of %x became %x", in, out)
		}
	})
}

func TestFrameLimits(t *testing.T) {
	read := func(b []byte, limit int) error {
		_, err := readFrame(bufio.NewReader(bytes.NewReader(b)), limit)
		return err
	}
	body := make([]byte, 300_000)
	for i := range body {
		body[i] = byte(i >> 3)
	}
	whole := appendFrame(nil, kindAnswer, 9, body)
	f, err := readFrame(bufio.NewReader(bytes.NewReader(whole)), len(body))
	if err != nil || !bytes.Equal(f.rest, body) || f.call != 9 {
		t.Fatalf("%d bytes, %v", len(f.rest), err)
	}
	if err := read(whole, len(body)-1); err == nil {
		t.Error("frame over the limit was read")
	}
	for _, n := range []int{1, headLen, headLen + 1, 100_000, len(whole) - 1} {
		if err := read(whole[:n], len(body)); err == nil {
			t.Errorf("%d of %d bytes were a frame", n, len(whole))
		}
	}
	// A length that is not followed by bytes costs no memory.
	lie := []byte{0, 255, 255, 255, byte(kindAnswer), 0, 0, 0, 0}
	if n := testing.AllocsPerRun(10, func() { _ = read(lie, 1<<25) }); n > 10 {
		t.Errorf("%v allocations", n)
	}
}

func TestErrorCrossing(t *testing.T) {
	t.Parallel()
	for _, e := range []*Error{
		{Code: "x"},
		{Code: CodeRefused, Text: "no", Hint: "yes"},
		{},
		{Code: CodeInternal, Text: strings.Repeat("t", maxText), Hint: strings.Repeat("h", maxText)},
	} {
		got, err := parseError(e.encode())
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(e, got); d != "" {
			t.Error(d)
		}
		if n := len(e.encode()); n > slack {
			t.Errorf("%d bytes do not fit a frame", n)
		}
	}
	long := &Error{Code: Code(strings.Repeat("c", 300)), Text: strings.Repeat("t", 70_000)}
	got, err := parseError(long.encode())
	if err != nil || len(got.Code) != maxCode || len(got.Text) != maxText {
		t.Errorf("%v, %v", got, err)
	}
	if !errors.Is(&Error{Code: "a", Text: "t"}, &Error{Code: "a"}) || errors.Is(&Error{Code: "a"}, &Error{Code: "b"}) {
		t.Error("errors do not match by code")
	}
}
