package restore

import "github.com/rootd/rootd/fsm"

// Break gives the archive a state that cannot be written any more.
func (a *Archive) Break() {
	f, err := fsm.New(fsm.Options{})
	if err != nil {
		panic(err)
	}
	a.fsm = f
}
