"""grad_scaler.json: torch.amp.GradScaler's scale after runs of good and of overflown steps.
python make.py > grad_scaler.json   (torch 2.15)"""
import json

import torch

scaler = torch.amp.GradScaler("cpu")
p = torch.nn.Parameter(torch.zeros(1))
optimizer = torch.optim.SGD([p], lr=0.0)
scaler.scale(torch.zeros(1))
rows = []
for steps, overflow in [(1999, 0), (1, 1), (2000, 0), (1999, 0), (1, 0), (3, 1), (4500, 0), (1, 1), (1500, 0), (2, 1),
                        (2001, 0), (14, 1), (2000, 0)]:
    for _ in range(steps):
        p.grad = torch.full((1,), float("inf") if overflow else 1.0)
        scaler.step(optimizer)
        scaler.update()
    rows.append([steps, overflow, scaler.get_scale(), scaler._get_growth_tracker()])
print(json.dumps({"columns": ["steps", "overflow", "scale after", "good steps after"], "rows": rows}))
