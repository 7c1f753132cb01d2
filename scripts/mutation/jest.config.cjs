'use strict';
/** The unit tests alone, as the project of their name in jest.config.js. */
const { projects, testTimeout } = require('../../jest.config.js');

module.exports = { ...projects.find(({ displayName }) => displayName === 'unit'), testTimeout };
