"""A function a figure: from records to plotly's figure, or NothingToPlot with the reason."""
