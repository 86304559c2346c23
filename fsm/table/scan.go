package table

import "runtime"

// Scan calls yield for at least n peers, if there are so many left, and returns where to go on; it starts at cursor 0, and
// done is true at the end. It stops only between segments, so it may yield up to 6,000 more. Any goroutine may call it,
// between changes as between calls: whoever is in the table all the time is seen; whoever comes or goes meanwhile, perhaps;
// and when the table grows, some are seen twice. The order is not specified. The record is used again for the next
// call. The writer may use yield to change or delete peers.
func (t *Table) Scan(cursor uint64, n int, yield func(*Record)) (next uint64, done bool) {
	var r Record
	for seen := 0; ; {
		s := t.dir.Load().segment(cursor)
		for i := range s.slots {
			a := addressOf(s.slot(i)[0].Load())
			if a != 0 && a != dead && Hash(a) >= cursor && t.Lookup(a, &r) {
				yield(&r)
				seen++
			}
		}
		runtime.KeepAlive(s)
		if t.dir.Load().segment(cursor) != s {
			return cursor, false // replaced meanwhile: its slots may have been those of others
		}
		if cursor = s.end(); cursor == 0 {
			return 0, true
		}
		if seen >= n {
			return cursor, false
		}
	}
}
