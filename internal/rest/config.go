package rest

import (
	"context"
	"errors"
	"time"

	"tamada/internal/cluster"
	"tamada/internal/dcs"
)

// written is a dynamic configuration that this node wrote and when. Until the
// view of the store has caught up, GET /config shows it: who has just changed
// something must not read what was there before.
type written struct {
	doc     *cluster.Object
	version cluster.Version
	at      time.Duration
}

// dynamicConfig is the document to show; nil when there is none.
func (s *Server) dynamicConfig(ctx context.Context) (*cluster.Object, error) {
	c, err := s.cachedOrLoaded(ctx)
	if err != nil {
		return nil, err
	}
	var doc *cluster.Object
	var version cluster.Version
	if c != nil && c.Config != nil {
		doc, version = c.Config.Doc, c.Config.Version
	}
	// The age is bounded because versions begin anew in some stores when a key is
	// made again.
	if w := s.wrote.Load(); w != nil && w.version > version && s.source.Now() < w.at+s.source.Snapshot().Settings.TTL {
		doc = w.doc
	}
	return doc, nil
}

// showConfig is GET /config (6.3).
func (s *Server) showConfig(a *answer) {
	doc, err := s.dynamicConfig(a.ctx)
	switch {
	case err != nil:
		a.noStore()
	case doc == nil:
		a.page(502, "")
	default:
		a.json(200, cluster.Spaced(doc))
	}
}

// patchConfig is PATCH /config (6.3): the write happens only if the document is
// still the one that was merged with.
func (s *Server) patchConfig(a *answer) {
	patch, ok := readBody(a, true)
	if !ok {
		return
	}
	c, err := s.load(a.ctx)
	switch {
	case err != nil || c == nil:
		a.noStore()
		return
	case c.Config == nil:
		a.page(503, "")
		return
	}
	doc := c.Config.Doc.Clone()
	if cluster.Patch(doc, patch) {
		err := s.writeConfig(a, doc, dcs.IfVersion(c.Config.Version))
		switch {
		case errors.Is(err, dcs.ErrConflict):
			a.page(409, "")
			return
		case err != nil:
			a.noStore()
			return
		}
	}
	s.source.Wake()
	a.json(200, cluster.Spaced(doc))
}

// putConfig is PUT /config (6.3): it replaces whatever is there.
func (s *Server) putConfig(a *answer) {
	doc, ok := readBody(a, true)
	if !ok {
		return
	}
	c, err := s.load(a.ctx)
	if err != nil {
		a.noStore()
		return
	}
	if c == nil || c.Config == nil || !cluster.Equal(c.Config.Doc, doc) {
		if err := s.writeConfig(a, doc, dcs.Any()); err != nil {
			a.page(502, "")
			return
		}
	}
	a.json(200, cluster.Spaced(doc))
}

func (s *Server) writeConfig(a *answer, doc *cluster.Object, cond dcs.Condition) error {
	// A client that goes away does not make an unfinished write of this one.
	ctx, cancel := s.storeContext(s.life)
	defer cancel()
	version, err := s.source.PutConfig(ctx, doc, cond)
	if err != nil {
		s.log.WarnContext(ctx, "the dynamic configuration could not be written for a request", "method", a.r.Method,
			"from", a.r.RemoteAddr, "error", err)
		return err
	}
	s.wrote.Store(&written{doc: doc, version: version, at: s.source.Now()})
	s.log.InfoContext(ctx, "dynamic configuration changed by a request", "method", a.r.Method, "from", a.r.RemoteAddr)
	return nil
}
