"""Accuracy of what will really run: COCO, Pascal VOC and ranked precision, misses, false alarms, thresholds."""
