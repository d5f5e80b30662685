"""How one training fits into its device's memory: planned before it begins, and once more if a step runs out all the same."""

from __future__ import annotations

from dataclasses import dataclass, replace

from engine.config import TrainConfig
from engine.contracts.bases import BaseProfile
from engine.contracts.fitting import Fitting
from engine.model.plan import Device, MemoryPlan, Precision, plan_training, stepped_down


@dataclass(frozen=True)
class Fit:
    """What was asked of a training, and the plan it follows on its device."""

    asked: TrainConfig  # completed; its batch is this process's share
    profile: BaseProfile
    native: Precision
    device: Device
    plan: MemoryPlan
    ran_out: bool = False

    @classmethod
    def of(cls, asked: TrainConfig, profile: BaseProfile, native: Precision, device: Device) -> Fit:
        """The best way `asked` fits on `device`.

        Raises:
            OutOfMemoryError: it fits in no way.
        """
        plan = plan_training(asked, profile.transformer, profile.geometry, native, device)
        return cls(asked, profile, native, device, plan)

    def cheaper(self) -> Fit:
        """The next way that needs less than this one.

        Raises:
            OutOfMemoryError: there is none.
        """
        plan = stepped_down(self.plan, self.asked, self.profile.transformer, self.profile.geometry, self.native, self.device)
        return replace(self, plan=plan, ran_out=True)

    def applied_to(self, config: TrainConfig) -> TrainConfig:
        """`config` with the sizes of the plan."""
        plan = self.plan
        sizes = {"width": plan.width, "height": plan.height, "max_frames": plan.frames, "gradient_checkpointing": plan.recomputes}
        return config.model_copy(update=sizes)

    @property
    def told(self) -> Fitting | None:
        """What was given up, for people; None: nothing."""
        plan = self.plan
        if not plan.concessions:
            return None
        return Fitting(concessions=plan.concessions, width=plan.width, height=plan.height, frames=plan.frames, ran_out=self.ran_out)
