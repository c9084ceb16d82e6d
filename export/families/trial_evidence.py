"""What a trial run shows of a statement, and what of it the statement alone says."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Evidence:
    """Sentences' parts: ``shown`` go on after "it shows that", ``unshown`` after "not shown:"."""

    shown: list[str] = field(default_factory=list)
    unshown: list[str] = field(default_factory=list)

    def text(self) -> str:
        """For the report; empty where there is nothing to say."""
        shows = f"it shows that {', that '.join(self.shown)}" if self.shown else ""
        open_ = f"taken as stated, since it does not show it: {', '.join(self.unshown)}" if self.unshown else ""
        return "; ".join(filter(None, (shows, open_)))
