"""Adaptive forms: agents that make another agent adapt, by the calendar, by memory, by windows or by alarms."""

from perennial.agents.adaptive.calendar_conditioned import CalendarConditioned
from perennial.agents.adaptive.detected_restart import DetectedRestart
from perennial.agents.adaptive.seasonal_memory import SeasonalMemory
from perennial.agents.adaptive.window_ensemble import WindowEnsemble

__all__ = ["CalendarConditioned", "DetectedRestart", "SeasonalMemory", "WindowEnsemble"]
