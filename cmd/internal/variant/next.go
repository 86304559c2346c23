package variant

// next is what a release does that adds an entry kind and a setting: they have the level that it raises. Kind 200 is free for long.
func next() []edit {
	return []edit{
		{"cmd/internal/build/build.go", "const FeatureLevel = 2\n", "const FeatureLevel = 3\n"},

		{"fsm/note.go", "", note},
		{"fsm/feature.go", "func (k Kind) Level() uint16 { return 1 }\n", ""},
		{"fsm/command.go", "\tcase KindRestore:\n\t\treturn \"restore\"\n", "\tcase KindRestore:\n\t\treturn \"restore\"\n\tcase KindNote:\n\t\treturn \"note\"\n"},
		{"fsm/codec.go", "\tcase KindRestore:\n", "\tcase KindNote:\n\t\tc = &Note{N: r.uint32()}\n\tcase KindRestore:\n"},
		{"fsm/apply.go", "\tcase *Restore:\n", "\tcase *Note:\n\t\treturn Response{Err: f.note(c)}\n\tcase *Restore:\n"},
		{"fsm/settings.go", "\t\t{1, \"keep_alive\", ", "\t\t{3, \"last_note\", \"0\", \"the last note in the log\"},\n\t\t{1, \"keep_alive\", "},
		{"fsm/settings.go", "\tcase \"keep_alive\":\n", "\tcase \"last_note\":\n\t\treturn assignInt(&s.LastNote, key, value, 0, 0, 1<<30)\n\tcase \"keep_alive\":\n"},
		{"fsm/settings.go", "\tFeatureLevel int\n", "\tFeatureLevel int\n\tLastNote int\n"},

		{"cmd/rootd/raise.go", "const raiseEvery = 10 * time.Second\n", "const raiseEvery = 500 * time.Millisecond\n"},
		{"cmd/rootd/raise.go", "\t\tstate := c.m.fsm.View().State()\n", "\t\tstate := c.m.fsm.View().State()\n\t\tif c.m.replica.IsLeader() {\n" +
			"\t\t\tif _, err := c.m.propose(ctx, &fsm.Note{N: uint32(state.Settings.LastNote) + 1}); err != nil {\n\t\t\t\tc.m.log.Warn(\"note refused\", \"error\", err)\n\t\t\t}\n\t\t}\n"},
	}
}

const note = `package fsm

import (
	"encoding/binary"
	"strconv"
)

// KindNote is a [Note].
const KindNote Kind = 200

// Note changes the setting last_note.
type Note struct{ N uint32 }

// Kind implements [Command].
func (*Note) Kind() Kind { return KindNote }

func (c *Note) appendPayload(b []byte) ([]byte, error) { return binary.BigEndian.AppendUint32(b, c.N), nil }

func (f *FSM) note(c *Note) error { return f.set([]KeyValue{{"last_note", strconv.Itoa(int(c.N))}}) }

// Level is that of the kind.
func (k Kind) Level() uint16 {
	if k == KindNote {
		return 3
	}
	return 1
}
`
