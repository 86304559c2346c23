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
		take: func(size int) ([]block, error) {
			if err := <-answers; err != nil {
				return nil, err
			}
			return make([]block, size/blockBytes), nil
		},
		touch: func(b []block) { touched <- len(b) },
	}
	a.pools[ofSlots].total = 2 * aheadFrom
	chunk := a.pools[ofSlots].step() / blockBytes
	all := func() { // takes a whole chunk
		t.Helper()
		for range chunk {
			if _, _, err := a.get(ofSlots); err != nil {
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
	if _, _, err := a.get(ofSlots); !errors.Is(err, errNone) {
		t.Errorf("error %v, want %v", err, errNone)
	}
	answers <- nil // it has some again
	if _, _, err := a.get(ofSlots); err != nil {
		t.Error(err)
	}
	answers <- errNone // the one that was asked for then
	<-touched
}
