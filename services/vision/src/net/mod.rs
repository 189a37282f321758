//! Networks: read from ONNX, run on one thread, on pictures in NHWC order.
//!
//! [`Network`] hides which of two engines runs: our direct kernels for the small convolutional networks that the
//! product ships, tract for everything else. Both give the same numbers to within rounding, which a test shows.

mod compile;
mod direct;
mod kernels;
mod proto;
mod tract;

use tract_onnx::pb::ModelProto;
use tract_onnx::prelude::Framework;

use direct::{DirectNet, View};
use proto::{Graph, GraphError};
use tract::TractNet;

/// A network ready to run, with its buffers: one for each thread that runs it. Results do not depend on the batch,
/// nor on what ran before.
#[derive(Debug)]
pub struct Network {
    name: String,
    engine: Engine,
    channels: usize,
}

#[derive(Debug)]
enum Engine {
    Direct(DirectNet),
    Tract(Box<TractNet>),
}

/// Why a network cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// The file is not a network that can be run.
    #[error("the network {name} cannot be used: {why}; put the file of its manifest entry back")]
    Unusable {
        /// Its name in the manifest.
        name: String,
        /// What is wrong with it.
        why: String,
    },
    /// It was asked for something it does not make, or given a picture it does not take.
    #[error("the network {name} does not fit its role: {why}; correct its manifest entry")]
    Misfit {
        /// Its name in the manifest.
        name: String,
        /// What was asked of it.
        why: String,
    },
}

/// One named output of the last run: `rows x columns` cells of `channels` values each. A batch through dense layers
/// is one row with a cell for each picture.
#[derive(Clone, Copy, Debug)]
pub struct Output<'a>(View<'a>);

impl<'a> Output<'a> {
    /// Rows of cells.
    pub fn rows(&self) -> usize {
        self.0.rows
    }

    /// Cells in a row.
    pub fn columns(&self) -> usize {
        self.0.columns
    }

    /// The values of cell `index`, counted row by row.
    pub fn cell(&self, index: usize) -> &'a [f32] {
        &self.0.data[index * self.0.step + self.0.first..][..self.0.channels]
    }
}

impl Network {
    /// Reads the ONNX file `bytes`. `name` is for errors.
    ///
    /// # Errors
    /// [`NetworkError::Unusable`] when it is damaged or neither engine can run it.
    pub fn from_onnx(name: &str, bytes: &[u8]) -> Result<Self, NetworkError> {
        let unusable = |why: String| NetworkError::Unusable { name: name.into(), why };
        let model =
            tract_onnx::onnx().proto_model_for_read(&mut &*bytes).map_err(|e| unusable(format!("{e:#}")))?;
        match Graph::read(&model).and_then(|g| Ok((g.channels, compile::compile(&g)?))) {
            Ok((channels, net)) => Ok(Self { name: name.into(), engine: Engine::Direct(net), channels }),
            Err(GraphError::Damaged(why)) => Err(unusable(why)),
            Err(GraphError::Unsupported(_)) => Self::by_tract(name, model),
        }
    }

    /// The same network run by tract alone: the yardstick that tests and `edge-agent bench` compare with.
    ///
    /// # Errors
    /// As [`Network::from_onnx`].
    pub fn from_onnx_by_tract(name: &str, bytes: &[u8]) -> Result<Self, NetworkError> {
        let unusable = |why: String| NetworkError::Unusable { name: name.into(), why };
        let model =
            tract_onnx::onnx().proto_model_for_read(&mut &*bytes).map_err(|e| unusable(format!("{e:#}")))?;
        Self::by_tract(name, model)
    }

    fn by_tract(name: &str, model: ModelProto) -> Result<Self, NetworkError> {
        let unusable = |why: String| NetworkError::Unusable { name: name.into(), why };
        let (channels, size) = proto::input_of(&model).map_err(|e| unusable(e.to_string()))?;
        let net = TractNet::new(model, channels, size).map_err(|e| unusable(format!("{e:#}")))?;
        Ok(Self { name: name.into(), engine: Engine::Tract(Box::new(net)), channels })
    }

    /// Whether our direct kernels run it, or else tract.
    pub fn is_direct(&self) -> bool {
        matches!(self.engine, Engine::Direct(_))
    }

    /// Its name in the manifest.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs `count` pictures of `height` x `width` pixels: `input` holds them one after the other in NHWC order,
    /// already normalised. More than one only for networks that end in dense layers.
    ///
    /// # Errors
    /// [`NetworkError::Misfit`] when the network does not take such pictures.
    pub fn run(
        &mut self,
        count: usize,
        height: usize,
        width: usize,
        input: &[f32],
    ) -> Result<(), NetworkError> {
        let misfit = |why: String| NetworkError::Misfit { name: self.name.clone(), why };
        if count == 0 || input.len() != count * height * width * self.channels {
            let (given, channels) = (input.len(), self.channels);
            return Err(misfit(format!(
                "{count} x {height} x {width} x {channels} values wanted, {given} given"
            )));
        }
        match &mut self.engine {
            Engine::Direct(net) => match net.run(count, height, width, input) {
                true => Ok(()),
                false => Err(misfit(format!("it does not take {count} pictures of {width} x {height}"))),
            },
            Engine::Tract(net) => {
                net.run([count, height, width, self.channels], input).map_err(|e| misfit(format!("{e:#}")))
            }
        }
    }

    /// The output `name` of the last run, whose cells must have `channels` values.
    ///
    /// # Errors
    /// [`NetworkError::Misfit`] when there is no such output or it has another number of channels.
    pub fn output(&self, name: &str, channels: usize) -> Result<Output<'_>, NetworkError> {
        let view = match &self.engine {
            Engine::Direct(net) => net.output(name),
            Engine::Tract(net) => net.output(name),
        };
        match view {
            Some(view) if view.channels == channels => Ok(Output(view)),
            Some(View { channels: found, .. }) => {
                Err(self.misfit(format!("its output {name} has {found} values, not {channels}")))
            }
            None => Err(self.misfit(format!("it has no output {name}"))),
        }
    }

    fn misfit(&self, why: String) -> NetworkError {
        NetworkError::Misfit { name: self.name.clone(), why }
    }
}
