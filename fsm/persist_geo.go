package fsm

import "encoding/binary"

// appendPlaces appends what the log says about where the members are, since version 3 of the snapshot:
//
//	..   for each member, in the order above: position (6), and if it has a report: hash of its geo database (8), when
//	     that was built (4)
func appendPlaces(b []byte, members []Member) []byte {
	for i := range members {
		b = appendUnit(b, members[i].Position)
		if h := members[i].Health; h != nil {
			b = h.Geo.append(b)
		}
	}
	return b
}

func (s *State) readPlaces(r *reader) {
	for i := range s.Members {
		m := &s.Members[i]
		m.Position = r.unit()
		if m.Health != nil {
			m.Health.Geo = readGeoDatabase(r)
		}
	}
}

// settings reads how many settings follow. Those of older versions had room for 255.
func (r *reader) settings(version uint16) int {
	if version < epochFrom {
		return int(r.byte())
	}
	return int(r.uint16())
}

// appendSettings appends what was set.
func appendSettings(b []byte, s *Settings, version uint16) []byte {
	if version < epochFrom {
		b = append(b, byte(len(s.explicit)))
	} else {
		b = binary.BigEndian.AppendUint16(b, uint16(len(s.explicit)))
	}
	for _, kv := range s.explicit {
		b = append(append(b, byte(len(kv.Key))), kv.Key...)
		b = append(append(b, byte(len(kv.Value))), kv.Value...)
	}
	return b
}
