//! Any other ONNX network, run by tract: a site's own embedding network of another family, or liveness networks.

use std::collections::HashMap;
use std::sync::Arc;

use tract_onnx::pb;
use tract_onnx::prelude::*;

use super::direct::View;

/// A network and one optimised plan for each input shape met: symbolic shapes cost tract three times the time.
pub(super) struct TractNet {
    proto: pb::ModelProto,
    plans: HashMap<[usize; 4], Arc<TypedRunnableModel>>,
    results: HashMap<String, Cells>,
}

/// One output in NHWC order.
struct Cells {
    data: Vec<f32>,
    channels: usize,
    rows: usize,
    columns: usize,
}

/// Plans kept. A camera has one frame size, so few shapes come again and again.
const PLANS: usize = 32;

impl std::fmt::Debug for TractNet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TractNet").field("plans", &self.plans.keys()).finish_non_exhaustive()
    }
}

impl TractNet {
    /// Takes a network after building it once for `channels` x `size`, so that what tract refuses is refused now.
    pub(super) fn new(
        proto: pb::ModelProto,
        channels: usize,
        size: Option<(usize, usize)>,
    ) -> TractResult<Self> {
        let mut net = Self { proto, plans: HashMap::new(), results: HashMap::new() };
        if let Some((height, width)) = size {
            net.plan([1, channels, height, width])?;
        }
        Ok(net)
    }

    /// Runs `count` pictures of `height` x `width` x `channels`, `input` in NHWC order.
    pub(super) fn run(
        &mut self,
        [count, height, width, channels]: [usize; 4],
        input: &[f32],
    ) -> TractResult<()> {
        let plan = self.plan([count, channels, height, width])?;
        let cells = height * width;
        let mut planar = Tensor::zero::<f32>(&[count, channels, height, width])?;
        let mut values = planar.to_plain_array_view_mut::<f32>()?;
        for (at, value) in values.iter_mut().enumerate() {
            let (picture, rest) = (at / (channels * cells), at % (channels * cells));
            *value = input[(picture * cells + rest % cells) * channels + rest / cells];
        }
        let outputs = plan.run(tvec!(planar.into_tvalue()))?;
        let names = self.proto.graph.iter().flat_map(|g| &g.output).map(|o| o.name.clone());
        self.results = names
            .zip(&outputs)
            .map(|(name, value)| Ok((name, cells_of(value)?)))
            .collect::<TractResult<_>>()?;
        Ok(())
    }

    /// The output `name` of the last run.
    pub(super) fn output(&self, name: &str) -> Option<View<'_>> {
        let Cells { data, channels, rows, columns } = self.results.get(name)?;
        Some(View { data, step: *channels, first: 0, channels: *channels, rows: *rows, columns: *columns })
    }

    fn plan(&mut self, shape: [usize; 4]) -> TractResult<Arc<TypedRunnableModel>> {
        if let Some(plan) = self.plans.get(&shape) {
            return Ok(plan.clone());
        }
        if self.plans.len() == PLANS {
            self.plans.clear();
        }
        let mut model = tract_onnx::onnx().with_ignore_output_shapes(true).parse(&self.proto, None)?.model;
        model.set_input_fact(0, InferenceFact::dt_shape(f32::datum_type(), shape))?;
        let plan = model.into_optimized()?.into_runnable()?;
        self.plans.insert(shape, plan.clone());
        Ok(plan)
    }
}

/// `[N, C]` becomes a row of N cells, `[1, C, H, W]` H rows of W.
fn cells_of(value: &Tensor) -> TractResult<Cells> {
    let values = value.to_plain_array_view::<f32>()?;
    let (channels, rows, columns) = match *value.shape() {
        [count, channels] => {
            return Ok(Cells { data: values.iter().copied().collect(), channels, rows: 1, columns: count });
        }
        [1, channels, rows, columns] => (channels, rows, columns),
        ref other => return Err(TractError::msg(format!("an output of shape {other:?} is not understood"))),
    };
    let planar: Vec<f32> = values.iter().copied().collect();
    let cells = rows * columns;
    let data = (0..planar.len()).map(|at| planar[at % channels * cells + at / channels]).collect();
    Ok(Cells { data, channels, rows, columns })
}
