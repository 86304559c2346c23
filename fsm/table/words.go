package table

// Words is a record as the table stores it, but for its address and its key: words 1 to 7 of its slot, without the place of the entry, and
// words 8 to 10 of its entry. See [slotWords] and entry for what is in them. Word 0 is zero. A record has one form, so records with the same
// words are the same.
type Words [entryWords]uint64

// Words fills w with r.
func (r *Record) Words(w *Words) {
	w[0] = 0
	r.pack(w.slot(), 0)
	r.Handoff.pack(w.handoff())
}

// slot is words 0 to 7.
func (w *Words) slot() *words { return (*words)(w[:slotWords]) }

// handoff is words 8 to 10.
func (w *Words) handoff() *[entryWords - keyWords]uint64 {
	return (*[entryWords - keyWords]uint64)(w[keyWords:])
}
