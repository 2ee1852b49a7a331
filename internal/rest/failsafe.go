package rest

import (
	"encoding/json"
	"strconv"

	"tamada/internal/cluster"
)

// postFailsafe takes the question of a primary that has lost the store (section
// 8). The members' part of the allowlist does not count here: during an outage
// the list may not be at hand (trap 17).
func (s *Server) postFailsafe(a *answer) {
	body, ok := readBody(a, true)
	if !ok {
		return
	}
	name, ok1 := body.String("name")
	connURL, ok2 := body.String("conn_url")
	apiURL, ok3 := body.String("api_url")
	if !ok1 || !ok2 || !ok3 || name == "" {
		a.page(400, "")
		return
	}
	slots, ok := failsafeSlots(body.Value("slots"))
	if !ok {
		a.page(400, "")
		return
	}
	code, text, lsn, err := s.source.Failsafe(a.ctx, name, connURL, apiURL, slots)
	switch {
	case err != nil:
		a.page(503, "")
	case code == 502 || code == 503:
		a.page(code, "")
	default:
		if lsn > 0 {
			a.w.Header()["lsn"] = []string{strconv.FormatUint(uint64(lsn), 10)}
		}
		a.text(code, text)
	}
}

// failsafeSlots reads the optional positions of slots.
func failsafeSlots(v any) ([]cluster.Slot, bool) {
	if v == nil {
		return nil, true
	}
	o, ok := v.(*cluster.Object)
	if !ok {
		return nil, false
	}
	var slots []cluster.Slot
	for name, v := range o.All() {
		n, ok := v.(json.Number)
		if !ok {
			return nil, false
		}
		u, err := strconv.ParseUint(string(n), 10, 64)
		if err != nil {
			return nil, false
		}
		slots = append(slots, cluster.Slot{Name: name, LSN: cluster.LSN(u)})
	}
	return slots, true
}
