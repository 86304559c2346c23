package table

import (
	"errors"
	"testing"
)

// TestArenaTakesAhead: whoever needs a block of a large pool does not wait for the system, which is asked for the next chunk elsewhere.
func TestArenaTakesAhead(t *testing.T) {
	errNone := errors.New("no memory")
	answers, touched := make(chan error, 3), make(chan int, 3)
	a := &arena{
		take: func(size int, _ bool) ([]block, error) {
			if err := <-answers; err != nil {
				return nil, err
			}
			return make([]block, size/blockBytes), nil
		},
		touch: func(b []block) { touched <- len(b) },
	}
	a.slots.total = 2 * largeFrom
	chunk := a.slots.step() / blockBytes
	all := func() { // takes a whole chunk
		t.Helper()
		for range chunk {
			if _, _, err := a.slots.get(a); err != nil {
				t.Fatal(err)
			}
		}
	}
	answers <- nil
	all() // and meanwhile the second one is not given
	if len(touched) != 0 {
		t.Fatal("touched before it was taken")
	}
	answers <- nil
	if n := <-touched; n != chunk {
		t.Errorf("%d blocks touched, want %d", n, chunk)
	}
	all()

	answers <- errNone // the third chunk: nobody needs it yet
	if n := <-touched; n != 0 {
		t.Errorf("%d blocks touched of a chunk that was not given", n)
	}
	answers <- errNone
	if _, _, err := a.slots.get(a); !errors.Is(err, errNone) {
		t.Errorf("error %v, want %v", err, errNone)
	}
	answers <- nil // it has some again
	if _, _, err := a.slots.get(a); err != nil {
		t.Error(err)
	}
	answers <- errNone // the one that was asked for then
	<-touched
}

// TestSmallPoolsTakeWhatTheyNeed: huge pages, and memory that is touched before anybody needs it, are for pools that are no longer small.
func TestSmallPoolsTakeWhatTheyNeed(t *testing.T) {
	var small, large, touched int
	done := make(chan struct{}, 1)
	a := &arena{
		take: func(size int, huge bool) ([]block, error) {
			if huge {
				large += size
			} else {
				small += size
			}
			return make([]block, size/blockBytes), nil
		},
		touch: func(b []block) {
			touched += len(b) * blockBytes
			done <- struct{}{}
		},
	}
	for n := 0; n < largeFrom; n += int(a.entries.size()) {
		if _, _, err := a.entries.get(a); err != nil {
			t.Fatal(err)
		}
		if n+minChunk < largeFrom && touched != 0 {
			t.Fatalf("%d bytes touched for a pool of %d", touched, n)
		}
		if a.entries.large() {
			<-done // the first chunk that is taken ahead
			break
		}
	}
	if small != largeFrom || large != minChunk || touched != minChunk {
		t.Errorf("took %d bytes, of huge pages %d, and touched %d", small, large, touched)
	}
}
