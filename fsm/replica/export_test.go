package replica

import "github.com/hashicorp/raft"

// WrapLog makes Open put the log that it opened into another one: a disk that tests can break.
func (o *Options) WrapLog(f func(raft.LogStore) raft.LogStore) { o.wrapLog = f }

// Pacer is pacer for tests.
type Pacer = pacer

// Next is pacer.next for tests.
var Next = (*pacer).next

// Bury ends what a Run that returned ErrDiskStuck left behind: in production the end of the process does.
func (r *Replica) Bury() error {
	if err := r.raft.Load().Shutdown().Error(); err != nil {
		return err
	}
	return r.stores.close()
}
